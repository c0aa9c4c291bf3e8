"""The weights that the autoencoder's training begins with.

Random ones learn brightness first and colours very late: norms take away how bright and colourful a
picture is as a whole, and the way through the whole network has to be found before anything else is
seen. So some channels begin as what is known anyway: the first three latents are the mean colours of
8 x 8 pixels, and the decoder makes a smooth picture of them. All other channels begin at random, and all
are trained.

Norms keep a colour as it is, about, where their group also has two channels of large constant values,
one positive and one negative, which rule its spread; and the activation after them (SiLU) is nearly a
line where the norm adds enough.
"""

import torch

# The large constant, and what norms add before the activation.
CONSTANT, LIFT = 4.0, 4.0
COLOURS = 3
# Deviation of colours is about 0.5, that of latents should be 1.
GAIN = 2.0
# How loud the channels that begin at random are in the picture and in the latents.
QUIET = 0.1
# Logarithm of the variance that the encoder claims: it begins sure of itself.
SURE = -5.0


def pass_on(layer, tap, outputs=range(COLOURS)):
    """Lets a convolution copy its first channels to `outputs`, and nothing else, by a kernel [k, k]."""
    tap = torch.as_tensor(tap, dtype=layer.weight.dtype)
    for channel, output in enumerate(outputs):
        layer.weight[output] = 0
        layer.weight[output, channel] = tap
        layer.bias[output] = 0


def centre(layer, value=1.0):
    """A kernel that takes the pixel itself."""
    side = layer.kernel_size[0]
    tap = torch.zeros(side, side)
    tap[side // 2, side // 2] = value
    return tap


def leave_alone(block, channels):
    """Lets residual blocks and attention add nothing to some channels."""
    for resnet in block.resnets:
        resnet.conv2.weight[channels] = 0
        resnet.conv2.bias[channels] = 0
    for attention in getattr(block, "attentions", []):
        attention.to_out[0].weight[channels] = 0
        attention.to_out[0].bias[channels] = 0


def constants(layer, groups):
    """Where the colours and the two constants go, by channel, so that each group that has a colour has
    both constants; makes the convolution `layer` put them there."""
    size = layer.out_channels // groups
    room = min(size - 2, COLOURS)
    used, colours = [], []
    while len(colours) < COLOURS:
        first = len(used) // size * size if not used else used[-1] // size * size + size
        some = range(first, first + min(room, COLOURS - len(colours)))
        plus = some[-1] + 1
        for channel, value in ((plus, CONSTANT), (plus + 1, -CONSTANT)):
            layer.weight[channel] = 0
            layer.bias[channel] = value
        colours += some
        used += [*some, plus, plus + 1]
    pass_on(layer, centre(layer), colours)
    return colours, used


def read(norm, layer, colours, gain):
    """Lets the last convolution of a half take the colours out of what the last norm gives."""
    size = norm.num_channels // norm.num_groups
    middle = layer.kernel_size[0] // 2
    # How large a colour is after the norm: the constants alone make the variance of their group.
    shrunk = (size / 2) ** 0.5 / CONSTANT
    norm.bias.fill_(0)
    layer.weight[:COLOURS].mul_(QUIET)
    layer.bias[:COLOURS] = 0
    plus = {channel: max(other for other in colours if other // size == channel // size) + 1 for channel in colours}
    used = [*colours, *plus.values(), *(channel + 1 for channel in plus.values())]
    norm.bias[used] = LIFT
    layer.weight[:, used] = 0
    for output, channel in enumerate(colours):
        layer.weight[output, channel, middle, middle] = gain / shrunk
        # The mean of the two constants is what the norm has taken from each channel of the group.
        layer.weight[output, plus[channel] : plus[channel] + 2, middle, middle] = -gain / shrunk / 2


@torch.no_grad()
def begin(net):
    """Sets the weights of an AutoencoderKL."""
    colours = list(range(COLOURS))
    mean4 = torch.zeros(3, 3)
    mean4[:2, :2] = 0.25
    smooth = torch.outer(line := torch.tensor([0.25, 0.5, 0.25]), line)

    encoder, groups = net.encoder, net.config.norm_num_groups
    pass_on(encoder.conv_in, centre(encoder.conv_in))
    for block in encoder.down_blocks[:-1]:
        leave_alone(block, colours)
        if block.resnets[0].conv_shortcut is not None:
            pass_on(block.resnets[0].conv_shortcut, [[1.0]])
        pass_on(block.downsamplers[0].conv, mean4)
    last = encoder.down_blocks[-1]
    places, used = constants(last.resnets[0].conv_shortcut, groups)
    leave_alone(last, used)
    leave_alone(encoder.mid_block, used)
    read(encoder.conv_norm_out, encoder.conv_out, places, GAIN)
    latents = range(net.config.latent_channels)
    net.quant_conv.weight.mul_(QUIET)
    net.quant_conv.bias[len(latents) :] = SURE
    pass_on(net.quant_conv, [[1.0]], latents)

    decoder = net.decoder
    pass_on(net.post_quant_conv, [[1.0]], latents)
    pass_on(decoder.conv_in, centre(decoder.conv_in, 1 / GAIN))
    leave_alone(decoder.mid_block, colours)
    for block in decoder.up_blocks[:-1]:
        leave_alone(block, colours)
        if block.resnets[0].conv_shortcut is not None:
            pass_on(block.resnets[0].conv_shortcut, [[1.0]])
        pass_on(block.upsamplers[0].conv, smooth)
    last = decoder.up_blocks[-1]
    places, used = constants(last.resnets[0].conv_shortcut, groups)
    leave_alone(last, used)
    read(decoder.conv_norm_out, decoder.conv_out, places, 1.0)
