"""The page `/map`: its sources in `web`, what `web/build` makes of them in `dist`, and how it is read from there."""
