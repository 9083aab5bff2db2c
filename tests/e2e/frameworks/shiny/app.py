from shiny import App, render, ui

page = ui.page_fluid(ui.h1("Doubler"), ui.input_action_button("more", "More"), ui.output_text("n"))


def server(input, output, session):
    @render.text
    def n():
        return f"clicked {input.more()} times"


app = App(page, server)
