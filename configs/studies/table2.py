"""Table 2 of the paper: the DARTS space on ImageNet-1k, each cell retrained for 250 epochs.

Methods that search this space have their published settings and the images that the paper names:
CIFAR-10 where it names none. All cells are trained alike, with 48 channels and 14 cells. Parameters
and multiply-adds of what is found, of published cells, and of networks made by hand are counted.
"""

_base_ = ['../_base_/studies/darts_small.py']

study = dict(
    title='Table 2: the DARTS space on ImageNet',
    methods=[
        'darts_2nd',
        'pc_darts_darts_imagenet',
        'pdarts_darts_c100',
        'darts_plus',
        'darts_minus_darts_imagenet',
        'fairdarts_darts_imagenet',
        'snas',
        'darts_pt',
        'dots',
        'beta_darts_darts_c100',
        'lambda_darts',
        'oles',
        'fp_darts',
        'pdarts_aer',
        'is_darts',
        'rdarts',
        'nao',
        'seminas',
        'weaknas',
        'nasi_ada_darts_c10',
        'swap',
    ],
    spaces=['darts'],
    data=['c10'],
    seeds=1,
    retrain='darts_imagenet',
    image=[3, 224, 224],
    networks=dict(
        ResNet50='torchvision:resnet50',
        MobileNetV1='timm:mobilenetv1_100',
        MobileNetV2='torchvision:mobilenet_v2',
        ShuffleNetV2='torchvision:shufflenet_v2_x1_0',
        NASNet_A='NASNet',
        AmoebaNet_A='AmoebaNet',
        DARTS_V1='DARTS_V1',
        DARTS_V2='DARTS_V2',
        PC_DARTS_CIFAR='PC_DARTS_cifar',
    ),
    absent={
        'ProxylessNAS-RL': 'its network is of layers, not cells: published figures only here',
        'FBNet': 'its network is of layers, not cells: published figures only here',
    },
    small=dict(
        says='8 channels, 5 cells; an eighth of CIFAR, or 2,000 images of 64 pixels; 10 epochs, 10 '
        'queries; networks of 16 channels, 8 cells, 40,000 images of 64 pixels, 10 epochs; counted '
        'for 224, those that no search found whole',
        queries=10,
        options={'limit': 6250},
        by_data=dict(imagenet={'image_size': 64, 'limit': 2000}),
        retrain_options={
            'model.backbone.channels': 16,
            'model.backbone.num_cells': 8,
            'image_size': 64,
            'limit': 40000,
        },
    ),
)
