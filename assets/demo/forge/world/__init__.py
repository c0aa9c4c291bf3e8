"""Who and what is drawn: people, scenes, captions. `render` draws them."""

from ..draw.picture import Face, Picture, render
from .captions import caption
from .people import TRAINING, UNSEEN, Person, person
from .scenes import Scene, Sitter, scene

__all__ = [
    "TRAINING",
    "UNSEEN",
    "Face",
    "Person",
    "Picture",
    "Scene",
    "Sitter",
    "caption",
    "person",
    "render",
    "scene",
]
