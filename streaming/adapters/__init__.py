"""Adapters: other people's data as the tables of a shop folder, by name."""

from streaming.adapters.beauty import beauty
from streaming.adapters.clothing import clothing
from streaming.adapters.completejourney import completejourney
from streaming.adapters.diginetica import diginetica
from streaming.adapters.rees46 import rees46
from streaming.adapters.retail import retail
from streaming.adapters.serenade import serenade
from streaming.adapters.tables import Adapter, ShopTables
from streaming.adapters.yoochoose import yoochoose

ADAPTERS: dict[str, Adapter] = {
    "beauty": beauty,
    "clothing": clothing,
    "completejourney": completejourney,
    "diginetica": diginetica,
    "rees46": rees46,
    "retail": retail,
    "serenade": serenade,
    "yoochoose": yoochoose,
}
"""What `beforehand import --from` takes."""

__all__ = ["ADAPTERS", "Adapter", "ShopTables"]
