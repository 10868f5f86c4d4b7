# frozen_string_literal: true

require "support"
require "apnsd"

class NotificationTest < Minitest::Test
  def test_a_notification_has_the_names_of_apple
    notification = Apnsd::Notification.new(
      alert: { title: "T", body: "B" }, badge: 0, sound: "default", category: "C", thread_id: "t",
      content_available: true, mutable_content: true, interruption_level: "passive", relevance_score: 0.5,
      custom: { order: 7, "note" => nil }
    )
    assert_equal '{"aps":{"alert":{"title":"T","body":"B"},"badge":0,"sound":"default","category":"C",' \
                 '"thread-id":"t","content-available":1,"mutable-content":1,"interruption-level":"passive",' \
                 '"relevance-score":0.5},"order":7,"note":null}', Apnsd::Notification.json(notification)
  end

  def test_what_is_not_given_is_not_sent
    assert_equal({ "aps" => {} }, Apnsd::Notification.new(content_available: false).to_h)
  end

  def test_equal_notifications_are_equal_and_none_changes
    first, second = Array.new(2) { Apnsd::Notification.new(alert: "A", custom: { a: 1 }) }
    assert_equal first, second
    assert_equal 1, [first, second].uniq.size
    refute_equal first, Apnsd::Notification.new(alert: "B", custom: { a: 1 })
    assert_raises(FrozenError) { first.instance_variable_set(:@aps, {}) }
  end

  def test_aps_is_not_custom
    error = assert_raises(Apnsd::InvalidArguments) { Apnsd::Notification.new(custom: { "aps" => {} }) }
    assert_equal "custom: `aps` is made of the other arguments", error.message
  end

  def test_hashes_keep_what_json_can_say_and_text_is_passed_as_it_is
    assert_equal '{"aps":{"alert":"Grüße 🎉"},"n":null,"big":9007199254740993}',
                 Apnsd::Notification.json({ aps: { "alert" => "Grüße 🎉" }, n: nil, big: 9_007_199_254_740_993 })
    assert_equal ' {"a": 1} ', Apnsd::Notification.json(' {"a": 1} ')
  end

  def test_characters_that_xml_does_not_know_are_escaped
    assert_equal '{"a":"\u0001\ufffe\uffff\u001b"}', Apnsd::Notification.json({ a: "\u0001\uFFFE\uFFFF\u001B" })
  end

  def test_what_has_no_json_form_is_refused_with_its_place
    told = ->(value) { assert_raises(Apnsd::InvalidArguments) { Apnsd::Notification.json(value, "notifications[3]") } }
    assert_match(/\Anotifications\[3\]: this has no JSON form: /, told.call({ a: Float::NAN }).message)
    assert_match(/\Anotifications\[3\]: this has no JSON form: /, told.call({ a: "\xFF" }).message)
    assert_equal "notifications[3]: a Hash, an Apnsd::Notification or a String with a JSON object is needed, not " \
                 "NilClass", told.call(nil).message
  end
end
