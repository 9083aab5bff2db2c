import streamlit as st

st.title("Counter")
st.session_state.setdefault("n", 0)
if st.button("More"):
    st.session_state.n += 1
st.write(f"clicked {st.session_state.n} times")
name = st.text_input("Name")
if name:
    st.write(f"hello {name}")
st.write("color is " + st.secrets["COLOR"])
st.bar_chart([3, 1, 2])
