"""The pipeline's speed compared with the usual alternatives, measured on the same recordings.

`python -m benchmark.speed` runs every section and writes its numbers; `python -m benchmark.speed.features`
and so on run one. A section is a key of benchmark/speed/speed.json that no other section touches.
"""
