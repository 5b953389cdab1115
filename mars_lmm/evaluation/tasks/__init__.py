"""What an evaluation does: each task reads the material and gives what its JSON file holds."""

from mars_lmm.evaluation.tasks import facts, likelihood, lob_bench, table7

RUN = {"facts": facts.run, "lob_bench": lob_bench.run, "table7": table7.run, "likelihood": likelihood.run}
"""By the task's name."""
