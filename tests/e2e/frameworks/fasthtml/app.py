import os

from fasthtml.common import *

base = os.environ.get("CL_APP_PATH", "")
app, rt = fast_app(exts="ws")
clicks = 0


@rt("/")
def get():
    return Titled("Counter", P("0", id="n"),
                  Button("More", hx_post=f"{base}/more", hx_target="#n"),
                  Form(Input(name="msg"), ws_send=True, hx_ext="ws", ws_connect=f"{base}/ws"), Div(id="said"))


@rt("/more")
def post():
    global clicks
    clicks += 1
    return str(clicks)


@app.ws("/ws")
async def said(msg: str, send):
    await send(Div(f"you said {msg}", id="said"))
