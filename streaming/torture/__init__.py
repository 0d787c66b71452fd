"""`beforehand torture`: harm by a seeded plan, and a ledger of what came of each event."""
