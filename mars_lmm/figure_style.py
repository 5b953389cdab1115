"""How figures look, in reports and on their own: matplotlib settings, and the colours of what is not data."""

INK, MUTED, GRID = "#1f2933", "#66717f", "#e4e8ed"
REPLAY_COLOUR, SIMULATION_COLOUR = "#323a45", "#2f6fde"
STYLE = {
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
}
