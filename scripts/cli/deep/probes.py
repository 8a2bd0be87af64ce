"""Texts that a loaded model must score as it did when it was exported."""

from typing import Final

# Short, so that each is one window; of every category and of none, and some that lie between.
PROBES: Final = (
    "Good morning, how was the train ride?",
    "The bakery on the corner sells fresh bread every day.",
    "you are an idiot and nobody likes you",
    "Shut up, you stupid clown.",
    "I will find you and kill you.",
    "they should all be sent back where they came from, filthy animals",
    "My neighbours are Muslim and very kind.",
    "I want to end my life tonight.",
    "If you think about suicide, please call somebody, help is there.",
    "send me nudes, I am bored",
    "WIN a free phone now!!! click http://example.com/win",
    "Please review the attached document before Friday.",
    "what a damn beautiful goal",
    "This homework is killing me.",
    "Nobody asked for your opinion.",
    "we had soup, then we went home",
)
