"""Plans: a model as a list of fused steps that C++ runs by one call.

``op`` says what a layer is to a plan, ``steps`` makes the list and fuses it, ``training`` is what
a Graph runs itself by, ``prepared`` is ``striate.prepare``.
"""
