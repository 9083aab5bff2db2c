import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'

const app = new Hono()

app.get('/', (c) => c.html(<html><body><h1>Hono at {process.env.BASE_PATH}</h1></body></html>))
app.post('/sum', async (c) => c.json({ sum: (await c.req.json()).reduce((a: number, b: number) => a + b, 0) }))
app.get('/events', (c) => streamSSE(c, async (stream) => {
  for (let i = 0; i < 3; i++) await stream.writeSSE({ data: `tick ${i}`, id: String(i) })
}))

export default app
