# frozen_string_literal: true

require "support"
require "apnsd"

class CodecTest < Minitest::Test
  def test_a_call_is_the_xml_that_daemons_expect
    call = Apnsd::Codec.call("notify", ["myapp", ["aa"], '{"a":"<&>"}', { priority: 5, topic: nil }])
    assert_equal '<?xml version="1.0" ?><methodCall><methodName>notify</methodName><params>' \
                 "<param><value><string>myapp</string></value></param>" \
                 "<param><value><array><data><value><string>aa</string></value></data></array></value></param>" \
                 '<param><value><string>{"a":"&lt;&amp;&gt;"}</string></value></param>' \
                 "<param><value><struct><member><name>priority</name><value><i4>5</i4></value></member>" \
                 "<member><name>topic</name><value><nil/></value></member></struct></value></param>" \
                 "</params></methodCall>\n", call
  end

  def test_integers_beyond_32_bits_are_written
    assert_includes Apnsd::Codec.call("m", [4_000_000_000]), "<value><i8>4000000000</i8></value>"
    assert_includes Apnsd::Codec.call("m", [2_147_483_647]), "<value><i4>2147483647</i4></value>"
  end

  def test_text_is_written_in_utf8_whatever_its_encoding
    call = Apnsd::Codec.call("m", ["Gr\xFC\xDFe".dup.force_encoding("ISO-8859-1"), "日本"])
    assert_includes call, "<string>Grüße</string>"
    assert_includes call, "<string>日本</string>"
  end

  def test_what_has_no_form_in_xml_rpc_is_refused
    error = assert_raises(Apnsd::InvalidArguments) { Apnsd::Codec.call("notify", [[Object.new]]) }
    assert_equal "notify: the arguments cannot be written as XML-RPC: there is no form for Object", error.message
    assert_raises(Apnsd::InvalidArguments) { Apnsd::Codec.call("notify", ["\xFF"]) }
  end

  def test_an_answer_has_symbols_for_names_and_times_in_utc
    answer = response("<struct><member><name>since</name><value>" \
                      "<dateTime.iso8601>20110313T07:06:40</dateTime.iso8601></value></member>" \
                      "<member><name>rows</name><value><array><data><value><boolean>1</boolean></value>" \
                      "<value><double>5000000000.0</double></value></data></array></value></member></struct>")
    assert_equal({ since: Time.utc(2011, 3, 13, 7, 6, 40), rows: [true, 5_000_000_000.0] },
                 Apnsd::Codec.answer(answer))
  end

  def test_nil_is_read_although_the_gem_does_not_by_itself
    assert_nil Apnsd::Codec.answer(response("<nil/>"))
    assert_equal [nil, "a"], Apnsd::Codec.answer(response("<array><data><value><nil/></value><value>a</value>" \
                                                          "</data></array>"))
  end

  def test_each_fault_is_the_error_for_its_code
    { 404 => Apnsd::UnknownAppID, 401 => Apnsd::InvalidEnvironment, 500 => Apnsd::ServerTimeout,
      8002 => Apnsd::InvalidArguments, 8001 => Apnsd::Error }.each do |code, kind|
      error = assert_raises(kind) { Apnsd::Codec.answer(fault(code, "because")) }
      assert_instance_of kind, error
      assert_equal [code, "because", "because"], [error.code, error.text, error.message]
    end
  end

  def test_what_is_not_an_answer_is_malformed
    ["", "<methodResponse></methodResponse>", response("a</value></param><param><value>b"),
     "Not found", "<html><body>Hi</body></html>", "<methodResponse>", response("<date>1</date>")[0, 60],
     "<methodResponse><fault><value>x</value></fault></methodResponse>"].each do |text|
      assert_raises(Apnsd::Codec::Malformed, text) { Apnsd::Codec.answer(text) }
    end
  end

  def test_an_answer_is_refused_before_a_parser_takes_too_long_or_makes_objects
    deep = ->(depth) { response("#{"<array><data><value>" * depth}#{"</value></data></array>" * depth}") }
    Apnsd::Codec.answer(deep.call(20))
    member = "<struct><member><name>___class__&#95;</name><value>Object</value></member></struct>"
    { deep.call(50_000) => "its elements are nested too deep",
      "<methodResponse><params><param>#{"<value>" * 62}" => "its elements are nested too deep",
      "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>" => "there is more than plain elements in it",
      "<a b='#{"<" * 60_000}'/>" => "there is more than plain elements in it",
      response("<![CDATA[x]]>") => "there is more than plain elements in it",
      response("<string>\xFF</string>") => "it is not text in UTF-8",
      "</a/>" => "its elements do not match", "<a><b></a>" => "its elements do not match",
      response(member) => "there is a member ___class___" }.each do |text, problem|
      error = assert_raises(Apnsd::Codec::Malformed, text[0, 200]) { Apnsd::Codec.answer(text) }
      assert_equal problem, error.message.lines.first.chomp
    end
  end

  def test_the_timeout_of_somebody_else_passes_while_an_answer_is_read
    long = response("<array><data>#{"<value>a</value>" * 1_000_000}</data></array>")
    error = assert_raises(Timeout::Error) { Timeout.timeout(0.1, Timeout::Error, "mine") { Apnsd::Codec.answer(long) } }
    assert_equal "mine", error.message
  end

  def test_an_array_that_holds_itself_is_refused
    array = []
    error = assert_raises(Apnsd::InvalidArguments) { Apnsd::Codec.call("notify", [array << array]) }
    assert_match(/\Anotify: the arguments cannot be written as XML-RPC: stack level too deep/, error.message)
  end

  def test_entities_are_read_and_others_refused
    text = "&lt;&gt;&amp;lt;&quot;&apos;&#65;&#x1F389;&#xe9;"
    assert_equal "<>&lt;\"'A\u{1F389}é", Apnsd::Codec.answer(response("<string>#{text}</string>"))
    ["&b;", "&", "&;", "&amp", "& amp;", "&#;", "&#x;", "&#9999999;", "&#x110000;", "&#xd800;"].each do |other|
      assert_raises(Apnsd::Codec::Malformed, other) { Apnsd::Codec.answer(response(other)) }
    end
  end

  def test_an_answer_with_very_many_entities_is_read
    text = "&lt;&amp;&gt;" * 20_000
    assert_equal "<&>" * 20_000, Apnsd::Codec.answer(response("<string>#{text}</string>"))
  end

  private

  def response(value)
    "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>#{value}</value>\n</param>\n</params>\n" \
      "</methodResponse>\n"
  end

  def fault(code, text)
    "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n<name>faultCode</name>\n" \
      "<value><int>#{code}</int></value>\n</member>\n<member>\n<name>faultString</name>\n" \
      "<value><string>#{text}</string></value>\n</member>\n</struct></value>\n</fault>\n</methodResponse>\n"
  end
end
