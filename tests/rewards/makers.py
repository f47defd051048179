"""Items for tests."""

from rl.types import Message, Prompt, RewardItem, Task


def text_item(text, reference: str | None = "7", task=Task.TEXT, **prompt):
    return RewardItem(
        Prompt("row/1", task, (Message("user", "Calculate 3 + 4."),), reference=reference, **prompt), text
    )


def drawn_item(image, spec=None, reference="a red circle", broken=None):
    scene = broken if spec is None else spec.to_json()
    metadata = {"scene": scene} if scene else {}
    row = Prompt("scene/1", Task.DRAW, (Message("user", reference),), reference=reference, metadata=metadata)
    return RewardItem(row, image=image)
