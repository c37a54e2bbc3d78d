"""Alpha learns at 3e-3: ten times the printed rate of r-DARTS in NAS-Bench-201."""

arch_optimizer = dict(lr=3e-3)
