import time

import gradio as gr


def greet(name):
    return f"Hello {name}!"


def count(n):
    for i in range(int(n)):
        time.sleep(0.1)
        yield f"step {i + 1}"


with gr.Blocks(title="Greeter", analytics_enabled=False) as demo:
    name = gr.Textbox(label="Name")
    said = gr.Textbox(label="Said")
    gr.Button("Greet").click(greet, name, said, api_name="greet")
    gr.Button("Count").click(count, gr.Number(value=3, label="N"), gr.Textbox(label="Steps"), api_name="count")
demo.queue().launch()
