"""Sends a load: processes with one epoll loop each, requests at their intended times, three histograms."""
