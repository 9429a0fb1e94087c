-- Five hundred products: twenty kinds of thing (the categories) in twenty-five manners.
WITH RECURSIVE numbers (n) AS (
    SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 499
),
manners (k, word) AS (
    VALUES (0, 'quiet'), (1, 'amber'), (2, 'sturdy'), (3, 'folding'), (4, 'northern'), (5, 'little'), (6, 'grand'),
           (7, 'woven'), (8, 'silver'), (9, 'rustic'), (10, 'modern'), (11, 'travel'), (12, 'garden'), (13, 'winter'),
           (14, 'summer'), (15, 'striped'), (16, 'plain'), (17, 'heavy'), (18, 'light'), (19, 'antique'),
           (20, 'copper'), (21, 'indigo'), (22, 'scarlet'), (23, 'olive'), (24, 'ivory')
),
things (k, word) AS (
    VALUES (0, 'kettle'), (1, 'lamp'), (2, 'chair'), (3, 'blanket'), (4, 'clock'), (5, 'teapot'), (6, 'rug'),
           (7, 'mirror'), (8, 'basket'), (9, 'bench'), (10, 'vase'), (11, 'shelf'), (12, 'pillow'), (13, 'lantern'),
           (14, 'stool'), (15, 'tray'), (16, 'jug'), (17, 'table'), (18, 'candle'), (19, 'bowl')
)
INSERT INTO products (id, name, category, price_cents)
SELECT n + 1, manners.word || ' ' || things.word, n % 20 + 1, 500 + (n * 7919) % 19500
FROM numbers
JOIN manners ON manners.k = n / 20
JOIN things ON things.k = n % 20;
