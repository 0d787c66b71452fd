"""Networks that a ranking has to beat, as the literature has them: trained from item numbers alone, in minutes.

For evaluations only; no worker imports them. Of the libraries that have them, RecTools pins numpy below 2 and RecBole
an old ray, so that neither goes into one environment with the product; LightGCN is PyTorch Geometric's.
"""
