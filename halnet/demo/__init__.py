"""The web demo: a Streamlit page with a mode in each file, served to this machine alone."""
