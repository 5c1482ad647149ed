"""The practice statement that those who run an age check publish, as a form to fill in.

ISO/IEC 27566-1 (Age assurance systems, Part 1: Framework) asks for practice statements. Its text is
not public. The five headings are those of its clauses, as public descriptions name them:
iso27001security.com ("ISO/IEC 27566-1", main sections in draft) and Biometric Update, January 2025
("New age assurance standard the culmination of enormous amount of work"), which also has a question
for each. What is asked under a heading is ours.
"""

from halnet.reporting.sections import Section, Table

HERE, OPEN = "this report", "the operator"
# By the heading of the standard: what belongs there, and who has the answer.
QUESTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "Functional characteristics": (
        ("What the check decides, at which legal age, and with which challenge age", OPEN),
        ("Method: age estimation from a photo; which model, runtime and limits of quality", HERE),
        ("What happens to people who are referred or get no result", OPEN),
        ("Who is responsible: provider, intermediary, and the service that relies on it", OPEN),
    ),
    "Performance characteristics": (
        ("Errors, shares let through and referred, with intervals, on public photos", HERE),
        ("The same figures at the place of use: camera, light, people", OPEN),
        ("How often the figures are measured again, and after which changes", OPEN),
    ),
    "Privacy characteristics": (
        ("Which pictures and results are taken, and what for", OPEN),
        ("Where they are processed and kept, for how long, and who can see them", OPEN),
        ("Whether a result can be linked to a person or to another check", OPEN),
    ),
    "Security characteristics": (
        ("Attacks with photos, screens, masks, make-up: which were tested, how many passed", OPEN),
        (
            "Injected pictures and video: how the way from camera to model is protected",
            OPEN,
        ),
        ("How the model file is protected from change (its SHA-256 is in this report)", OPEN),
    ),
    "Acceptability characteristics": (
        ("Differences between sexes and groups in errors and in failures", HERE),
        (
            "How people are served whom it cannot judge, such as those with a disability",
            OPEN,
        ),
        ("How a person learns what is checked, refuses it, and complains about a result", OPEN),
    ),
}


def practice_section() -> Section:
    """Return the form."""
    rows = tuple(
        (heading if number == 0 else "", question, where, "...")
        for heading, questions in QUESTIONS.items()
        for number, (question, where) in enumerate(questions)
    )
    return Section(
        "Practice statement to fill in",
        (
            "ISO/IEC 27566-1 asks providers of age checks, intermediaries and those who rely on "
            "them to publish a practice statement. This form has the five kinds of characteristics "
            "of that standard, as public descriptions of its draft name them "
            "(iso27001security.com; Biometric Update, January 2025). The standard itself was not "
            "consulted: compare the form with it before you publish. What is asked under each "
            "heading is a proposal of HAL-Net. Where this report has the answer, the form says "
            "so; all else, the operator fills in.",
        ),
        (
            Table(
                ("heading", "what belongs here", "who has the answer", "answer"),
                rows,
                "Practice statement of the age check at (place of use, operator, date)",
            ),
        ),
    )
