"""Sentences for the polysemy demonstration: one spelling, two meanings each. Written for foretext."""

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "bank": (
        "river: They walked along the [bank] of the river and watched the water.",
        "river: The boat was tied to a tree on the left [bank] of the stream.",
        "river: Reeds and willows grew on the muddy [bank] of the lake.",
        "river: The flood washed away the northern [bank] of the river.",
        "money: The [bank] lent the company money to pay its debts.",
        "money: She opened an account at a [bank] and saved her wages.",
        "money: The central [bank] raised interest rates to slow inflation.",
        "money: He worked as a clerk in a [bank] that sold loans and bonds.",
    ),
    "苹果": (
        "水果: 他从树上摘下一个红红的[苹果]，咬了一口。",
        "水果: 妈妈买了葡萄、香蕉和[苹果]，都很甜。",
        "水果: 果农今年种的[苹果]丰收了，又大又甜。",
        "水果: 把[苹果]洗干净，切成小块做成水果沙拉。",
        "公司: 美国科技公司[苹果]发布了新款手机。",
        "公司: 投资者认为[苹果]的股票价格还会上涨。",
        "公司: 三星和[苹果]在智能手机市场上竞争激烈。",
        "公司: 软件开发者在[苹果]的平台上销售应用程序。",
    ),
    "打": (
        "击: 他用拳头[打]了那个人，人家报了警。",
        "击: 老师从来不[打]学生，也不骂学生。",
        "击: 土匪把他[打]得头破血流，倒在地上。",
        "击: 父亲生气地[打]了儿子一巴掌。",
        "通话: 她给妈妈[打]了一个电话，说今晚不回家。",
        "通话: 请按这个号码[打]我的手机联系我。",
        "通话: 客户[打]客服热线咨询，电话一直占线。",
        "通话: 昨天他[打]过来两个长途电话问消息。",
    ),
}
"""Word → "sense: sentence with the word in [brackets]"."""
