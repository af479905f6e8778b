"""How results change with what they depend on."""

from nbnumba.gradients import losses as losses
