"""Everything compiled. It imports nothing of fastrnn but itself; README.md of `src/` is the contract of the C below."""
