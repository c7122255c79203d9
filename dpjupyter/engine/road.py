"""The whole program on one page: parse, bind, plan, price, debit, run, noise, finish."""
