from nicegui import ui


@ui.page("/")
def home():
    state = {"n": 0}
    label = ui.label("clicked 0 times")

    def more():
        state["n"] += 1
        label.text = f"clicked {state['n']} times"
    ui.button("More", on_click=more)
    ui.link("Other", other)


@ui.page("/other")
def other():
    ui.label("the other page")


ui.run(title="Counter")
