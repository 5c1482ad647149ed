"""The page: what is chosen for all modes, and the mode."""

from collections.abc import Callable

import streamlit as st
from PIL import Image, ImageDraw

from halnet.demo import batch, compare, live, photo
from halnet.demo.models import Choice, find_choices
from halnet.demo.server import DemoConfig
from halnet.demo.settings import Settings
from halnet.drawing import BOX_COLOUR

MODES: dict[str, Callable[[Settings], None]] = {
    "Photo": photo.show,
    "Batch": batch.show,
    "Live video": live.show,
    "Compare": compare.show,
}


def main() -> None:
    """Draw the page."""
    config = DemoConfig.from_environment()
    st.set_page_config("HAL-Net: face age", page_icon=_icon(), layout="wide")
    st.html("<style>[data-testid=stMainBlockContainer] {padding-top: 3.5rem}</style>")
    st.header("HAL-Net: face age")
    mode = st.radio("Mode", list(MODES), horizontal=True, label_visibility="collapsed")
    choices = find_choices(config.models)
    if not choices:
        st.error("No runtime is installed; pip install 'halnet[onnxruntime]' is the smallest.")
        return
    with st.sidebar:
        settings = Settings(config, tuple(choices), _choose(choices), _level())
        st.caption(_privacy(config))
    MODES[mode](settings)


def _icon() -> Image.Image:
    """Return a square frame. Named icons would be fetched from elsewhere."""
    icon = Image.new("RGB", (32, 32), "white")
    ImageDraw.Draw(icon).rectangle((4, 4, 27, 27), outline=BOX_COLOUR, width=6)
    return icon


def _choose(choices: list[Choice]) -> Choice:
    models = list(dict.fromkeys(choice.model for choice in choices))
    model = st.selectbox("Model", models) if len(models) > 1 else models[0]
    able = [choice for choice in choices if choice.model == model]
    runtime = st.selectbox("Runtime", [choice.runtime for choice in able])
    return next((choice for choice in able if choice.runtime == runtime), able[0])


def _level() -> float:
    percent = st.slider(
        "Interval, %",
        min_value=50,
        max_value=95,
        value=90,
        step=5,
        help="The rate at which the interval holds the true age, for faces like those that the "
        "model was calibrated on.",
    )
    return percent / 100


def _privacy(config: DemoConfig) -> str:
    if config.private:
        return (
            "Nothing leaves this machine. Photos are kept in memory while the page is open, and "
            "written nowhere."
        )
    return (
        f"Photos go to the machine that serves this page ({config.address}) and no further. They "
        "are kept in memory while the page is open, and written nowhere."
    )


main()
