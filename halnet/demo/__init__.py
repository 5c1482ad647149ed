"""The web demo: a Streamlit page with one file for each mode. `server.py` serves it."""
