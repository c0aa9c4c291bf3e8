"""How a scene becomes pixels: one module for each part of a picture, from the back to the front."""
