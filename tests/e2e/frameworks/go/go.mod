module example.org/hello

go 1.22

require (
	github.com/go-chi/chi/v5 v5.1.0
	github.com/gorilla/websocket v1.5.3
)
