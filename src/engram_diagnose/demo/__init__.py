"""
A server with a planted fault, diagnosed, mended and measured again, told as it happens.
"""
