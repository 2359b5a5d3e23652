"""A demonstration without downloads: rendered photos of wrist watches by five invented makers.

The makers' designs differ only in details (hands, hour markers, crown, emblem); colour, strap,
light and surroundings are drawn from one distribution for all of them and give nothing away.
"""
