"""The three networks of the demo checkpoint, a Stable Diffusion 1.x in miniature: their sizes, and how
they are made. The classes are those of diffusers and transformers, so the format is theirs.

Where the weights are: all three together have to stay under 5.9 million, for they are stored as 16-bit
numbers in at most 12 MB. The UNet has attention at 16 x 16, at 8 x 8 and in its middle: that is where
words meet the picture and where a LoRA learns a person; at 32 x 32 it would cost far more time. The
autoencoder is thin where pictures are large.
"""

from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel

# Pictures are 256 x 256, latents 4 x 32 x 32.
SIDE, LATENT_SIDE, LATENT_CHANNELS = 256, 32, 4
# Numbers of a word, of the text encoder and of what the UNet attends to.
TEXT_WIDTH = 128
TOKENS = 77


def autoencoder(scaling_factor=1.0):
    """Pictures to latents of an eighth of the size and back."""
    net = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        sample_size=SIDE,
        block_out_channels=(16, 32, 48, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=LATENT_CHANNELS,
        scaling_factor=scaling_factor,
        # Nothing in it is near the limits of 16-bit floats.
        force_upcast=False,
    )
    # On a CPU plain matrix products are several times as fast as the fused attention.
    net.set_attn_processor(AttnProcessor())
    return net


def unet():
    """What predicts the noise in latents."""
    net = UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(48, 64, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=16,
        attention_head_dim=4,  # the number of heads, in spite of its name
        cross_attention_dim=TEXT_WIDTH,
    )
    net.set_attn_processor(AttnProcessor())
    return net


def text_encoder(vocabulary):
    """Words to what the UNet attends to. `vocabulary` is the count of tokens; the last two of them are
    the marks of begin and end."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        hidden_act="quick_gelu",
        projection_dim=TEXT_WIDTH,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    config._attn_implementation = "eager"
    return CLIPTextModel(config)


def weights(net):
    """How many numbers a network has."""
    return sum(value.numel() for value in net.parameters())
