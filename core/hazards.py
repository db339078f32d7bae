"""The hazards everything here is sorted by: the 13 categories of the MLCommons taxonomy (AILuminate / Llama Guard 3)."""

HAZARDS: dict[str, str] = {
    "S1": "violent crimes",
    "S2": "non-violent crimes",
    "S3": "sex-related crimes",
    "S4": "child sexual exploitation",
    "S5": "defamation",
    "S6": "dangerous specialized advice",
    "S7": "privacy",
    "S8": "intellectual property",
    "S9": "indiscriminate weapons",
    "S10": "hate",
    "S11": "suicide and self-harm",
    "S12": "sexual content",
    "S13": "elections and misinformation",
}
JAILBREAK = "jailbreak"
"""Not a hazard but an attack on the model; a category of the guard beside the thirteen."""

HEADS = ("prompt", "answer", "refusal", JAILBREAK, *HAZARDS)
"""What the guard's model gives, in order: is this prompt unsafe, is this answer unsafe, does it refuse, does it try to talk a
model out of its rules, and which hazard it is. All are probabilities, the hazards sum to one."""
OWN_HEADS = 4
"""Heads that are probabilities of their own; the hazards behind them share one."""
HEAD_OF_RAIL = {"input": HEADS.index("prompt"), "output": HEADS.index("answer")}
"""The rails, the user's text and the model's, and which head judges each."""
