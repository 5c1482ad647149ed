"""The mode that checks an age: pass, refer or no result for one photo, with the policy beside it.

The check itself is `Predictor.check`. This file asks for its photo and its policy, and shows what
it returns.
"""

import json
import math
from dataclasses import dataclass

import streamlit as st

from halnet.ages import AGE_MAX, LEGAL_AGE
from halnet.artifact import Metadata
from halnet.checks.check import AgeCheck, CheckOutcome
from halnet.checks.policy import MARGIN, CheckPolicy, make_policy
from halnet.checks.risk import LEGAL_AGES, YOUNGEST, find_obstacle, measure_risk
from halnet.demo.models import open_or_report
from halnet.demo.settings import Settings
from halnet.demo.widgets import ask_photo, draw_photo, interval_head, show_error
from halnet.errors import ConfigError, HalnetError
from halnet.faces.photo_view import PhotoView
from halnet.predictor import Predictor
from halnet.result_files import percent_text

USUAL_AGES = ("13", "16", "18", "21")  # legal ages that can be chosen with one click
OTHER = "Other"
OLDEST_LEGAL = 99  # years
BY_AGE, BY_RISK = "Challenge age", "Largest risk"  # what the user names
USUAL_RISK = 5.0  # percent
RISK_STEP = 0.01  # percent: the smallest and the finest risk that can be asked for
RECORD = "age-check.json"  # file name of the audit record
PHOTO_WIDTH = 320  # pixels
NOT_LIVE_TESTED = (
    "No liveness check ran. If somebody holds a picture of an adult into the camera, the picture "
    "passes as the adult would."
)
NOT_COMPARED = (
    "Whether the photo shows the person who asks, and whether it was changed, was not checked."
)


@dataclass(frozen=True)
class _Look:
    """How an outcome is shown. The word and the icon tell it without the colour."""

    word: str
    icon: str  # a name of Material Symbols
    colour: str  # a name of Streamlit, which is readable on a white and on a dark page


LOOKS = {
    CheckOutcome.PASS: _Look("Pass", "check_circle", "green"),
    CheckOutcome.REFER: _Look("Refer", "badge", "orange"),
    CheckOutcome.NO_RESULT: _Look("No result", "help", "blue"),
}


@dataclass(frozen=True)
class _Question:
    """What the user asks for. Either the challenge age or the largest risk is None."""

    legal: int  # years
    challenge: int | None  # years
    max_risk: float | None  # 0 to 1

    def find_policy(self, metadata: Metadata) -> CheckPolicy:
        """Return the policy for a model. Raises ConfigError with a message for the page."""
        errors = metadata.minor_errors
        if self.max_risk is not None and find_obstacle(errors, self.legal) is None:
            # The page asks in percent, and so it answers in percent.
            best = measure_risk(errors, self.legal, AGE_MAX)
            if best.bound > self.max_risk:
                smallest = math.ceil(100 * best.bound / RISK_STEP) * RISK_STEP
                raise ConfigError(
                    f"The model cannot vouch for a risk of {100 * self.max_risk:.2f}%. With its "
                    f"{best.photos} calibration photos of people aged {YOUNGEST} to "
                    f"{self.legal - 1}, it can vouch for {smallest:.2f}% at best. Ask for this "
                    "risk or a larger one, or choose a challenge age."
                )
        return make_policy(metadata, self.legal, self.challenge, self.max_risk)


def show(settings: Settings) -> None:
    """Draw the mode."""
    predictor = open_or_report(settings.choice, settings.config)
    if predictor is None:
        return
    st.caption(
        "A check says whether a person looks clearly as old as a legal age, or that the age has to "
        "be verified in another way. It never says that a person is a minor."
    )
    left, right = st.columns([3, 2], gap="medium")  # on a phone, the policy is below the outcome
    with right:
        question = _ask_question()
    with left:
        view = ask_photo("check", "Photo to check")
        try:
            policy = question.find_policy(predictor.spec.metadata)
        except ConfigError as error:
            show_error(error)
            return
    with right:
        _show_policy(policy)
    if view is not None:
        with left:
            _check(predictor, view, question, settings.level)


def _ask_question() -> _Question:
    chosen = st.radio(
        "Legal age, years",
        [*USUAL_AGES, OTHER],
        index=USUAL_AGES.index(str(LEGAL_AGE)),
        horizontal=True,
        key="check legal",
    )
    legal = (
        int(chosen)
        if chosen != OTHER
        else st.number_input(
            "Other legal age, years", 1, OLDEST_LEGAL, LEGAL_AGE, key="check other"
        )
    )
    way = st.radio("Who passes is decided by", [BY_AGE, BY_RISK], horizontal=True, key="check way")
    if way == BY_AGE:
        # Each legal age has a widget of its own, so that it starts with its own challenge age.
        challenge = st.number_input(
            "Challenge age, years",
            legal,
            AGE_MAX,
            min(legal + MARGIN, AGE_MAX),
            key=f"check challenge {legal}",
            help="Who looks as old as that or older passes.",
        )
        return _Question(legal, challenge, None)
    percent = st.number_input(
        "Largest risk that a minor passes, %",
        RISK_STEP,
        99.0,
        USUAL_RISK,
        step=1.0,
        key="check risk",
        help="The challenge age is the smallest one at which the risk is at most as large as that, "
        "with 95% confidence.",
    )
    return _Question(legal, None, round(percent / 100, 6))


def _show_policy(policy: CheckPolicy) -> None:
    risk = policy.risk
    lines = [
        f"The legal age is **{policy.legal} years**.",
        f"The challenge age is **{policy.challenge} years**. Who looks as old as that or older "
        "passes.",
    ]
    if policy.max_risk is not None:
        lines.append(
            "It is the smallest challenge age at which a minor passes with a risk of at most "
            f"**{100 * policy.max_risk:.4g}%**, with 95% confidence."
        )
    if risk is None:
        lines.append(f"How often a minor passes is **not known**. {_why_unknown(policy.legal)}")
    else:
        minors = f"minors aged {YOUNGEST} to {policy.legal - 1}"
        lines += [
            f"Of {minors}, **{_percent(risk.estimate)}** pass. With 95% confidence, their share "
            f"is at most **{_percent(risk.bound)}**.",
            f"This was measured with **{risk.photos} calibration photos** of {minors}, and it "
            "holds for photos like these. Each year of age counts the same, so the photos tell as "
            f"much as {risk.effective_photos} photos that are evenly spread over the years.",
        ]
    st.subheader("Policy", anchor=False)
    st.markdown("\n".join(f"- {line}" for line in lines))


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _why_unknown(legal: int) -> str:
    """Return why a policy with this legal age has no risk."""
    if legal not in LEGAL_AGES:
        return (
            "Model files state the errors of people under 18 only, so it can be measured for legal "
            f"ages from {LEGAL_AGES[0]} to {LEGAL_AGES[-1]} years."
        )
    return (
        "It can be measured only with calibration photos of minors of each age from "
        f"{YOUNGEST} to {legal - 1}, and this model does not have them."
    )


def _check(predictor: Predictor, view: PhotoView, question: _Question, level: float) -> None:
    """Check a photo and show the result. `level` is not used by a check, only by the drawing."""
    try:
        with st.spinner("Checking the photo"):
            check = predictor.check(
                view,
                legal=question.legal,
                challenge=question.challenge,
                max_risk=question.max_risk,
            )
    except HalnetError as error:
        show_error(error)
        return
    _show_outcome(check)
    if check.liveness == "not run":
        st.markdown(f"**Not checked.** {NOT_LIVE_TESTED} {NOT_COMPARED}")
    st.download_button(
        "Download audit record",
        json.dumps(check.to_dict(), indent=2, allow_nan=False) + "\n",
        RECORD,
        "application/json",
        on_click="ignore",
        icon=":material/download:",
    )
    st.caption("The audit record is a JSON file. It holds no picture.")
    st.image(draw_photo(view.image(), [], level), caption="Checked photo", width=PHOTO_WIDTH)


def _show_outcome(check: AgeCheck) -> None:
    """Show the outcome with its reason and, if there is a result, the numbers behind it."""
    look = LOOKS[check.outcome]
    with st.container(border=True):
        st.title(f":{look.colour}[:material/{look.icon}:] {look.word}", anchor=False)
        st.markdown(_explain(check))
        if check.age is None or check.interval is None or check.probability is None:
            return
        low, high = check.interval
        with st.container(horizontal=True):
            st.metric("Age, years", f"{check.age:.2f}")  # all digits that are compared
            st.metric(interval_head(check.level), f"{low:.1f} to {high:.1f}")
            likely = percent_text(check.probability).replace(" %", "%")  # as the page writes it
            st.metric(f"Probability of {check.policy.legal} or more", likely)


def _explain(check: AgeCheck) -> str:
    """Return the reason of an outcome in whole sentences."""
    if not check.passed:
        return check.reason
    return (
        f"The predicted age of {check.age:.2f} years reaches the challenge age of "
        f"{check.policy.challenge}. The person looks old enough for the legal age of "
        f"{check.policy.legal}."
    )
