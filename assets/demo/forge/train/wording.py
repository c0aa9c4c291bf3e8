"""Words around the captions: what people add to prompts without meaning much, so that the networks
learn to take no notice of them, and what stands for "nothing asked".
"""

FILLERS = """
masterpiece; best quality; high quality; highly detailed; detailed; ultra detailed; sharp focus; sharp;
photo; photorealistic; realistic; professional; studio; studio lighting; cinematic; beautiful; 4k; 8k; hd;
illustration; drawing; painting; digital art; artwork; high resolution; close-up; front view; centered;
colorful; vivid colors; natural light; intricate; award winning; perfect face; detailed eyes; bokeh
"""
AVERSIONS = """
blurry; low quality; worst quality; lowres; ugly; deformed; bad anatomy; watermark; text; signature; noise;
cropped; jpeg artifacts; extra fingers; disfigured; out of focus; duplicate; bad proportions; error
"""
# Words that prompts have though no caption has them; they should not fall into single bytes.
COMMON = """
the of and with in on at by for from to is who has wearing her his their hair eyes face head body style
picture image girl boy lady guy male female blonde brunette dress suit hat coat dog cat house tree car city
street sky sea garden room wall day evening morning winter summer one two three dark light bright
"""


def listed(text):
    """The parts of a list that stand between semicolons."""
    return [part.strip() for part in text.split(";")]


FILLER_LIST, AVERSION_LIST = listed(FILLERS), listed(AVERSIONS)


def padded(text, rng):
    """The caption with some words around it that mean nothing."""
    chosen = [str(word) for word in rng.choice(FILLER_LIST, rng.integers(1, 5), replace=False)]
    if rng.random() < 0.5:
        return ", ".join([text, *chosen])
    cut = int(rng.integers(0, len(chosen) + 1))
    return ", ".join([*chosen[:cut], text, *chosen[cut:]])


def empty(rng):
    """What is said where nothing is asked for: nothing, or what people put into a negative prompt."""
    if rng.random() < 0.6:
        return ""
    return ", ".join(str(word) for word in rng.choice(AVERSION_LIST, rng.integers(1, 6), replace=False))


def variant(text, rng):
    """A caption as it is learned from: now and then with fillers, or without commas."""
    if rng.random() < 0.12:
        text = padded(text, rng)
    if rng.random() < 0.05:
        text = text.replace(",", "")
    return text


def vocabulary_texts():
    """All of the above as texts, for those who learn a vocabulary."""
    return [FILLERS.replace(";", " "), AVERSIONS.replace(";", " "), COMMON]
