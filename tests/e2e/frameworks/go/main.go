// A program with two modules from the proxy: a router and a WebSocket.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/websocket"
)

func main() {
	greeting := flag.String("greeting", "hello", "what to say")
	flag.Parse()
	upgrader := websocket.Upgrader{}
	r := chi.NewRouter()
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s from %s\n", *greeting, os.Getenv("CL_APP_PATH"))
	})
	r.Get("/name/{name}", func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintf(w, "%s %s\n", *greeting, chi.URLParam(req, "name"))
	})
	r.Get("/ws", func(w http.ResponseWriter, req *http.Request) {
		c, err := upgrader.Upgrade(w, req, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, data, err := c.ReadMessage()
			if err != nil {
				return
			}
			c.WriteMessage(kind, data)
		}
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), r))
}
