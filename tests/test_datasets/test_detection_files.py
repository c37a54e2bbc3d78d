"""COCO and VOC files as tools write them; building a data set needs no compiled operator."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

from rdarts.errors import UserError

pytest.importorskip('mmdet', reason='mmdetection is not installed: make install-detection')

KEEP = dict(filter_empty_gt=True, min_size=32)


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def coco(tmp_path):
    """Two images of one box each, and what writes their file after an edit and reads it."""
    from rdarts.datasets.detection import CheckedCocoDataset

    for name in ('1.png', '2.png'):
        assert cv2.imwrite(str(tmp_path / name), np.zeros((64, 64, 3), np.uint8))
    data = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=64, height=64) for i in (1, 2)],
        categories=[dict(id=1, name='x')],
        annotations=[
            dict(id=i, image_id=i, category_id=1, bbox=[10, 10, 40, 20], area=800, iscrowd=0)
            for i in (1, 2)
        ],
    )

    def load(edit=lambda data: None, before='', test_mode=False):
        edit(data)
        path = tmp_path / 'boxes.json'
        path.write_text(before + json.dumps(data), encoding='utf-8')
        return CheckedCocoDataset(
            ann_file=str(path),
            data_prefix=dict(img=str(tmp_path)),
            metainfo=dict(classes=('x',)),
            filter_cfg=KEEP,
            test_mode=test_mode,
        )

    return load


@pytest.mark.slow
def test_what_other_tools_leave_out(coco):
    expected = [info['instances'] for info in coco()]

    def edit(data):
        for entry in data['annotations']:
            del entry['area'], entry['iscrowd']

    found = coco(edit, before='\ufeff')
    assert [info['instances'] for info in found] == expected and len(found) == 2


def test_the_metric_reads_the_file_as_the_data_set_does(coco, tmp_path):
    from rdarts.datasets.detection import CheckedCocoMetric

    coco(lambda data: data['annotations'][0].pop('area'), before='\ufeff')
    metric = CheckedCocoMetric(ann_file=str(tmp_path / 'boxes.json'), metric='bbox')
    metric.dataset_meta = dict(classes=('x',))
    prediction = dict(
        bboxes=np.array([[10.0, 10, 50, 30]]), scores=np.array([0.9]), labels=np.array([0])
    )
    results = [(dict(), dict(prediction, img_id=i)) for i in (1, 2)]
    assert metric.compute_metrics(results)['bbox_mAP'] == 1
    # of a limited data set, the images that were looked at count
    assert metric.compute_metrics(results[1:])['bbox_mAP'] == 1


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda d: d['annotations'][1].update(id=1), 'the annotation id 1 is there 2 times'),
        (lambda d: d['images'][1].update(id=1), 'the image id 1 is there 2 times'),
        (lambda d: d['categories'].append(dict(id=1, name='y')), 'the category id 1 is there 2'),
        (lambda d: d['categories'].append(dict(id=2, name='x')), "the category 'x' is there 2"),
        (lambda d: d['annotations'].clear(), 'none of which has a box and 32 pixels a side'),
        (lambda d: [i.update(width=8) for i in d['images']], '2 images, none of which has a box'),
        (lambda d: [a.update(bbox=[70, 70, 9, 9]) for a in d['annotations']], 'has a box'),
        (lambda d: d.update(images=[], annotations=[]), 'it lists no image'),
        (lambda d: d['annotations'][0].update(area='wide'), "must be a number, but is 'wide'"),
        (lambda d: d['images'][0].update(file_name=3), 'image 1 has no name or size'),
        (lambda d: d['annotations'].append(7), 'no COCO file'),
    ],
)
def test_a_wrong_coco_file_is_one_line(coco, edit, message):
    with pytest.raises(UserError) as caught:
        coco(edit)
    assert message in str(caught.value) and 'boxes.json' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_images_without_boxes_are_tested(coco):
    assert len(coco(lambda data: data['annotations'].clear(), test_mode=True)) == 2


XML = """<annotation><size><width>{width}</width><height>64</height></size>
<object><name>cat</name><difficult>{difficult}</difficult><bndbox><xmin>5</xmin><ymin>5</ymin>
<xmax>50</xmax><ymax>50</ymax></bndbox></object></annotation>"""


@pytest.fixture
def voc(tmp_path):
    from rdarts.datasets.detection import CheckedVOCDataset

    folder = tmp_path / 'VOC2007'
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)

    def load(names, listed, width=64, difficult=0, xml=XML):
        for name in names:
            image = folder / 'JPEGImages' / f'{name}.jpg'
            assert cv2.imwrite(str(image), np.zeros((64, 64, 3), np.uint8))
            text = xml.format(width=width, difficult=difficult)
            (folder / 'Annotations' / f'{name}.xml').write_text(text)
        (folder / 'ImageSets' / 'Main' / 'list.txt').write_bytes(listed)
        return CheckedVOCDataset(
            data_root=str(tmp_path),
            ann_file='VOC2007/ImageSets/Main/list.txt',
            data_prefix=dict(sub_data_root='VOC2007/'),
            filter_cfg=dict(KEEP, bbox_min_size=32),
        )

    return load


def test_a_voc_list_with_blank_lines_and_spaces_in_names(voc):
    found = voc(['1', 'a cat'], b'\xef\xbb\xbf\n1 \r\n\n  \na cat\n\n')
    assert [info['img_id'] for info in found] == ['1', 'a cat']
    (box,) = found[1]['instances']
    assert box['bbox'] == [4, 4, 49, 49] and box['bbox_label'] == 7


@pytest.mark.parametrize(
    ('listed', 'options', 'message'),
    [
        (b'1\n1\n', {}, "the image '1' is there 2 times"),
        (b'\n', {}, 'it lists no image'),
        (b'\xff', {}, 'not a text file'),
        (b'1\n', dict(width=0), 'the size must be a width and a height in pixels, but is 0 x 64'),
        (b'1\n', dict(width='wide'), 'but is wide x 64'),
        (b'1\n', dict(width=8), '1 image, none of which has a box and 32 pixels a side'),
        (b'1\n', dict(difficult='no'), 'object 0: difficult must be 0 or 1'),
        (b'1\n', dict(xml='<annotation/>'), '1 image, none of which has a box'),
        (b'1 -1\n', {}, 'cannot read the annotation'),
    ],
)
def test_a_wrong_voc_file_is_one_line(voc, listed, options, message):
    with pytest.raises(UserError) as caught:
        voc(['1'], listed, **options)
    assert message in str(caught.value) and '\n' not in str(caught.value)
