"""Where things are."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
JUDGEMENTS = ROOT.parent / "shared" / "judgements"
LISTINGS = Path(os.environ.get("MARKETPLACE_LISTINGS", ROOT.parent / "shared" / "listings"))
MARKET = Path(os.environ.get("MARKETPLACE_MARKET", ROOT.parent / "shared" / "market"))
