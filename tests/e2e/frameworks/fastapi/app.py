"""What people use FastAPI for: JSON with checks, a WebSocket, server-sent events, an upload, links that know their path."""
import asyncio

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel

app = FastAPI(title="Shop")
stock = {}


class Item(BaseModel):
    name: str
    price: float


@app.get("/")
def home(request: Request):
    return {"home": str(request.url_for("home")), "root_path": request.scope["root_path"], "scheme": request.url.scheme,
            "client": request.client.host}


@app.put("/items/{item_id}")
def put(item_id: int, item: Item):
    stock[item_id] = item
    return {"id": item_id, "total": item.price * 2}


@app.get("/go")
def go(request: Request):
    return RedirectResponse(request.url_for("home"))


@app.post("/size")
async def size(request: Request):
    total = 0
    async for part in request.stream():
        total += len(part)
    return {"bytes": total}


@app.get("/events")
async def events():
    async def stream():
        for i in range(5):
            yield f"id: {i}\ndata: tick {i}\n\n"
            await asyncio.sleep(0.05)
    return StreamingResponse(stream(), media_type="text/event-stream")


@app.websocket("/ws/{room}")
async def talk(ws: WebSocket, room: str):
    await ws.accept()
    await ws.send_json({"room": room, "path": ws.scope["root_path"]})
    async for text in ws.iter_text():
        await ws.send_text(text.upper())
