import Route from '@ember/routing/route';
import ms from 'ms';

export default class ApplicationRoute extends Route {
  model() {
    const style = getComputedStyle(document.documentElement);
    return { style: style.getPropertyValue('--version').trim(), second: ms('1s') };
  }
}
