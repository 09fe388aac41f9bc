"""The engine that spreads one run over many processes, on PgQueuer (extra `scale`).

The queue only says who has which unit in hand. What is due and what is done are our own rows; a result is written only
while its claim stands. PgQueuer is imported here alone.
"""
