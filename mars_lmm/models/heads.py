"""The heads by name."""

from mars_lmm.models.embedding import OrderEmbedding
from mars_lmm.models.field_heads import FieldHead, TiedHead
from mars_lmm.models.joint_head import JointHead
from mars_lmm.models.order_head import OrderHead

HEADS = ("joint", "fields", "tied")


def build_head(name: str, width: int, bins: tuple[int, int, int, int], embedding: OrderEmbedding) -> OrderHead:
    """The head of that name, one of `HEADS`.

    Args:
        name: Which.
        width: Channels of the hidden states.
        bins: Numbers of types, prices, sizes and intervals.
        embedding: Whose tables the tied head shares.
    """
    if name == "tied":
        return TiedHead(width, bins, embedding)
    return {"joint": JointHead, "fields": FieldHead}[name](width, bins)
