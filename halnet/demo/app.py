"""The page: the settings in the sidebar, which all modes share, and the mode that the user chose.

To add a mode, write a file beside this one with a function that takes `Settings` and draws the
mode, and add a line to `MODES`.
"""

from collections.abc import Callable

import streamlit as st
from PIL import Image, ImageDraw

from halnet.ages import LEVEL
from halnet.demo import batch, check, compare, live, photo
from halnet.demo.models import Choice, find_choices
from halnet.demo.server import DemoConfig
from halnet.demo.settings import Settings
from halnet.drawing import BOX_COLOUR

TITLE = "HAL-Net: face age"
MODES: dict[str, Callable[[Settings], None]] = {
    "Photo": photo.show,
    "Batch": batch.show,
    "Live video": live.show,
    "Check": check.show,
    "Compare": compare.show,
}


def main() -> None:
    """Draw the page."""
    config = DemoConfig.from_environment()
    st.set_page_config(TITLE, page_icon=_icon(), layout="wide")
    st.html("<style>[data-testid=stMainBlockContainer] {padding-top: 3.5rem}</style>")
    st.header(TITLE)
    mode = st.radio("Mode", list(MODES), horizontal=True, label_visibility="collapsed")
    choices = find_choices(config.models)
    if not choices:
        st.error(
            "No runtime is installed. `pip install 'halnet[onnxruntime]'` installs the smallest "
            "one; then start the page again."
        )
        return
    with st.sidebar:
        choice = _ask_choice(choices)
        level = _ask_level(disabled=MODES[mode] is check.show)
        settings = Settings(config, tuple(choices), choice, level)
        st.caption(_privacy_note(config))
    MODES[mode](settings)


def _icon() -> Image.Image:
    """Return the icon of the page, a square frame.

    Streamlit's named icons are not used, because the browser would download them.
    """
    icon = Image.new("RGB", (32, 32), "white")
    ImageDraw.Draw(icon).rectangle((4, 4, 27, 27), outline=BOX_COLOUR, width=6)
    return icon


def _ask_choice(choices: list[Choice]) -> Choice:
    models = list(dict.fromkeys(choice.model for choice in choices))
    model = st.selectbox("Model", models) if len(models) > 1 else models[0]
    matching = [choice for choice in choices if choice.model == model]
    runtime = st.selectbox("Runtime", [choice.runtime for choice in matching])
    return next((choice for choice in matching if choice.runtime == runtime), matching[0])


def _ask_level(disabled: bool) -> float:
    percent = st.slider(
        "Interval coverage, %",
        min_value=50,
        max_value=95,
        value=round(100 * LEVEL),
        step=5,
        help="The percentage of faces whose true age lies inside the interval. It applies to "
        "faces like those that the model was calibrated on. A check always has the "
        f"{LEVEL:.0%} interval.",
        disabled=disabled,
    )
    return percent / 100


def _privacy_note(config: DemoConfig) -> str:
    if config.private:
        receiver = "Nothing leaves this machine."
    else:
        receiver = (
            f"Photos are sent to the machine that serves this page ({config.address}), and to no "
            "other machine."
        )
    return f"{receiver} Photos are kept in memory while the page is open. No photo is saved."


main()
