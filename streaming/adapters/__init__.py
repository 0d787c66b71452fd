"""Adapters: other people's data as the tables of a shop folder, by name."""

from streaming.adapters.completejourney import completejourney
from streaming.adapters.tables import Adapter, ShopTables

ADAPTERS: dict[str, Adapter] = {"completejourney": completejourney}
"""What `beforehand import --from` takes."""

__all__ = ["ADAPTERS", "Adapter", "ShopTables"]
