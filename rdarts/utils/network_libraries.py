"""The libraries whose networks are counted beside found ones."""

LIBRARIES = ('torchvision', 'timm')
