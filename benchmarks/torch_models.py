"""The layers of our networks in PyTorch, for the peers of the speed scripts."""

from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name all of PyTorch uses)


def mlp(channels: int) -> nn.Module:
    """784-300-100-10 with ReLU: `jaxml.models.mlp.MLP((300, 100), 10)`."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784 * channels, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def cnn(channels: int) -> nn.Module:
    """Stages of convolution, pool, norm and ReLU: `jaxml.models.vision.cnn.CNN()`."""
    layers: list[nn.Module] = []
    for width in (32, 64, 128):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)
    )


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inside: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity()
        if stride != 1 or inside != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


def resnet(channels: int) -> nn.Module:
    """ResNet-18 with a 3x3 stem: `jaxml.models.vision.resnet.resnet18_small()`."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
    ]
    inside = 64
    for stage in range(4):
        width = 64 * 2**stage
        for i in range(2):
            layers.append(Block(inside, width, 2 if stage and not i else 1))
            inside = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)
    )


MODELS = {"mlp": mlp, "cnn": cnn, "resnet": resnet}
