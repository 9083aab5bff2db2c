import reflex as rx


class State(rx.State):
    n: int = 0

    @rx.event
    def more(self):
        self.n += 1


def index():
    return rx.vstack(rx.heading("Counter"), rx.text("clicked ", State.n, " times"), rx.button("More", on_click=State.more))


app = rx.App()
app.add_page(index)
