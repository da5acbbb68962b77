"""Run by the peers' Python: at each line of its input, openSMILE on all files; prints the CPU seconds."""

import sys
import time

import audiofile
import opensmile

smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals, num_workers=1)
signals = [audiofile.read(path) for path in sys.argv[1:]]
smile.process_signal(*signals[0])
for _ in sys.stdin:
    start = time.process_time()
    for signal, rate_hz in signals:
        smile.process_signal(signal, rate_hz)
    print(time.process_time() - start, flush=True)
